//! A Rust file as its tokens: enough for every rule, and neither comments nor strings can deceive it.

use super::{Finding, tree::Tree};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::ops::RangeInclusive;
use std::str::FromStr as _;

/// What a token is; only what the rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, keywords included.
    Word,
    /// A literal of any type, as written.
    Literal,
    /// One character of punctuation, or a bracket of any kind.
    Sign,
}

/// One token with its line.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A function with a body.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the line of `fn` to the line of the closing brace.
    pub(crate) lines: RangeInclusive<usize>,
}

impl Function {
    pub(crate) fn length(&self) -> usize {
        self.lines.end().saturating_sub(*self.lines.start()) + 1
    }
}

/// A Rust file, read as tokens. Comments, doc comments included, are not among them.
#[derive(Debug)]
pub(crate) struct RustFile {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
    /// Lines of modules under `#[cfg(test)]`.
    pub(crate) tests: Vec<RangeInclusive<usize>>,
    /// Why it could not be read as Rust.
    pub(crate) error: Option<String>,
}

impl RustFile {
    /// Reads `text` as Rust.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = Vec::new();
        let error = match TokenStream::from_str(text) {
            Ok(stream) => {
                flatten(stream, &mut tokens);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let functions = functions(&tokens);
        let tests = test_modules(&tokens);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            functions,
            tests,
            error,
        }
    }

    /// Whether the whole file is a test: it lies under `tests`, or is a test module in a file of its own.
    pub(crate) fn is_test(&self) -> bool {
        let stem = self.path.trim_end_matches(".rs");
        stem.split('/')
            .any(|part| part == "tests" || part == "benches")
    }

    /// Whether a line belongs to a test.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test() || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The name of the innermost function around a line.
    pub(crate) fn function_at(&self, line: usize) -> Option<&str> {
        let around = self
            .functions
            .iter()
            .filter(|function| function.lines.contains(&line));
        around
            .min_by_key(|function| function.length())
            .map(|function| function.name.as_str())
    }

    /// The lines at which these tokens stand in a row.
    pub(crate) fn lines_of<'a>(&'a self, wanted: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens
            .windows(wanted.len())
            .filter(|window| {
                window
                    .iter()
                    .map(|token| token.text.as_str())
                    .eq(wanted.iter().copied())
            })
            .filter_map(|window| window.first().map(|token| token.line))
    }
}

/// Every Rust file must be readable, or the other rules would pass it unseen.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let unreadable = |file: &RustFile| {
        let error = file.error.as_ref()?;
        Some(Finding::at(
            &file.path,
            1,
            "rust_file",
            format!("cannot be read as Rust: {error}"),
        ))
    };
    tree.rust.iter().filter_map(unreadable).collect()
}

/// Brackets become signs, and attributes that are comments are left out.
fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                if is_comment(&group) && drop_attribute_head(out) {
                    continue;
                }
                let (open, close) = brackets(group.delimiter());
                push(out, Kind::Sign, open.to_owned(), group.span_open());
                flatten(group.stream(), out);
                push(out, Kind::Sign, close.to_owned(), group.span_close());
            }
            TokenTree::Ident(word) => push(out, Kind::Word, word.to_string(), word.span()),
            TokenTree::Literal(literal) => {
                push(out, Kind::Literal, literal.to_string(), literal.span());
            }
            TokenTree::Punct(sign) => {
                push(out, Kind::Sign, sign.as_char().to_string(), sign.span());
            }
        }
    }
}

fn push(out: &mut Vec<Token>, kind: Kind, text: String, span: proc_macro2::Span) {
    out.push(Token {
        kind,
        text,
        line: span.start().line,
    });
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// A doc comment arrives as `[doc = "text"]` behind `#` or `#!`.
fn is_comment(group: &proc_macro2::Group) -> bool {
    let mut inside = group.stream().into_iter().map(|tree| tree.to_string());
    group.delimiter() == Delimiter::Bracket
        && inside.next().as_deref() == Some("doc")
        && inside.next().as_deref() == Some("=")
}

/// Takes back the `#` or `#!` that was pushed before a comment; false when there was none.
fn drop_attribute_head(out: &mut Vec<Token>) -> bool {
    let signs: Vec<&str> = out
        .iter()
        .rev()
        .take(2)
        .map(|token| token.text.as_str())
        .collect();
    let head = match signs.as_slice() {
        ["#", ..] => 1,
        ["!", "#"] => 2,
        _ => 0,
    };
    out.truncate(out.len().saturating_sub(head));
    head > 0
}

/// Functions with a body: `fn name …` up to the brace that closes what its first brace opened.
fn functions(tokens: &[Token]) -> Vec<Function> {
    let starts = tokens
        .windows(2)
        .enumerate()
        .filter_map(|(at, window)| match window {
            [keyword, name] if keyword.text == "fn" && name.kind == Kind::Word => {
                Some((at, keyword.line, &name.text))
            }
            _ => None,
        });
    starts
        .filter_map(|(at, line, name)| {
            let end = body_end(tokens.get(at..)?)?;
            Some(Function {
                name: name.clone(),
                lines: line..=end,
            })
        })
        .collect()
}

/// The line of the brace that closes the first block, unless a `;` comes before it outside brackets.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let mut round: usize = 0;
    let mut curly: usize = 0;
    for token in tokens.iter().filter(|token| token.kind == Kind::Sign) {
        match token.text.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round = round.saturating_sub(1),
            "{" => curly += 1,
            "}" if curly == 1 => return Some(token.line),
            "}" => curly = curly.saturating_sub(1),
            ";" if curly == 0 && round == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Modules with a body under `#[cfg(test)]`, from the attribute to the closing brace.
fn test_modules(tokens: &[Token]) -> Vec<RangeInclusive<usize>> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for (at, window) in tokens.windows(attribute.len()).enumerate() {
        let words = window.iter().map(|token| token.text.as_str());
        if !words.eq(attribute) {
            continue;
        }
        let rest = tokens.get(at + attribute.len()..).unwrap_or_default();
        let first = window.first().map_or(1, |token| token.line);
        if let Some(end) = body_end(rest) {
            found.push(first..=end);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"//! A file.
fn declared(a: [u8; 4]);
/// Says "fn no_function() {}".
pub fn outer() {
    let text = "fn in_a_string() {}";
    fn inner() {
    }
}

#[cfg(test)]
mod tests {
    fn a_test() {}
}
"#;

    #[test]
    fn functions_are_found_with_their_lines() {
        let file = RustFile::new("a.rs", FILE);
        let names: Vec<&str> = file
            .functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        assert_eq!(names, ["outer", "inner", "a_test"]);
        assert_eq!(file.functions[0].lines, 4..=8);
        assert_eq!(file.function_at(6), Some("inner"));
        assert_eq!(file.function_at(1), None);
    }

    #[test]
    fn test_modules_are_known() {
        let file = RustFile::new("a.rs", FILE);
        assert_eq!(file.tests, [10..=13]);
        assert!(file.is_test_line(12) && !file.is_test_line(9));
        assert!(RustFile::new("crates/a/tests/b.rs", "").is_test());
    }

    #[test]
    fn comments_are_no_tokens() {
        let file = RustFile::new("a.rs", FILE);
        assert!(
            file.tokens
                .iter()
                .all(|token| !token.text.contains("no_function"))
        );
        assert!(
            file.tokens
                .iter()
                .any(|token| token.text.contains("in_a_string"))
        );
    }

    #[test]
    fn a_file_that_is_not_rust_is_found() {
        let findings = check(&Tree::of(&[("a.rs", "fn broken( {")]));
        assert_eq!(findings.len(), 1);
    }
}
