//! Forms as clients write them, as attackers do, and cut anywhere.

use proptest::prelude::*;

use super::*;

const B: &str = "xYz";

fn boundary(text: &str) -> Boundary {
    let mut headers = http::HeaderMap::new();
    let kind = format!("multipart/form-data; boundary=\"{text}\"");
    headers.insert("content-type", kind.parse().unwrap());
    Boundary::of(&headers).unwrap()
}

/// Reads a form that comes in these pieces.
fn scan(pieces: &[&[u8]]) -> Result<Form, RequestError> {
    let mut scanner = Scanner::new(&boundary(B));
    for piece in pieces {
        scanner.push(piece)?;
    }
    scanner.finish()?;
    Ok(scanner.form().clone())
}

fn field(name: &str, value: &str) -> String {
    format!("--{B}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file(value: &str) -> String {
    format!(
        "--{B}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n{value}\r\n"
    )
}

fn form(parts: &[String]) -> String {
    format!("{}--{B}--\r\n", parts.concat())
}

fn text(form: &Form, name: &str) -> Option<String> {
    form.value(name).map(|value| value.text.to_string())
}

#[test]
fn fields_that_decide_are_found_wherever_they_stand() {
    for parts in [
        [
            field("model", "whisper-1"),
            file("abc"),
            field("stream", "true"),
        ],
        [
            file("abc"),
            field("stream", "true"),
            field("model", "whisper-1"),
        ],
    ] {
        let whole = form(&parts);
        let found = scan(&[whole.as_bytes()]).unwrap();
        assert_eq!(text(&found, "model").as_deref(), Some("whisper-1"));
        assert_eq!(text(&found, "stream").as_deref(), Some("true"));
        let place = found.value("model").unwrap().place.clone();
        let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
        assert_eq!(whole.get(place), Some("whisper-1"));
        assert!(found.is_closed() && found.files() == 1);
    }
}

#[test]
fn a_form_is_over_with_its_last_boundary_and_at_most_two_line_breaks() {
    let whole = form(&[field("model", "m")]);
    let bare = whole.trim_end();
    assert!(scan(&[bare.as_bytes()]).is_ok());
    assert!(scan(&[whole.as_bytes()]).is_ok());
    // As the encoder writes it that the first of OpenAI's clients for Node had.
    assert!(scan(&[format!("{whole}\r\n").as_bytes()]).is_ok());
    for cut in 0..bare.len() {
        assert!(scan(&[&bare.as_bytes()[..cut]]).is_err(), "{cut}");
    }
    for more in [
        "\r",
        "\n",
        "\r\n\r",
        "\r\n\r\n\r\n",
        "x",
        " ",
        "--",
        "\r\n--xYz\r\n",
    ] {
        assert!(
            scan(&[format!("{bare}{more}").as_bytes()]).is_err(),
            "{more:?}"
        );
    }
}

/// The corpus of hostile forms, and those that have too much of something; by what is wrong.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let corpus = include_str!("../../hostile/forms.txt");
    let lines = corpus.lines().filter(|line| !line.starts_with('#'));
    let written = lines.map(|line| {
        let (what, bytes) = line.split_once(": ").unwrap();
        (what, unescaped(bytes))
    });
    let head = format!("--{B}\r\nContent-Disposition: form-data; name=\"x\"\r\n");
    let made = [
        ("nothing", String::new()),
        ("a long model", form(&[field("model", &"m".repeat(600))])),
        ("a long head", format!("{head}X: {}", "y".repeat(9_000))),
        (
            "a head of many lines",
            format!("{head}{}", "X: y\r\n".repeat(2_000)),
        ),
        ("ten thousand parts", form(&vec![field("x", "y"); 10_000])),
    ];
    let made = made.map(|(what, text)| (what, text.into_bytes()));
    written.chain(made).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    bytes
}

#[test]
fn a_form_of_which_there_can_be_two_opinions_is_refused() {
    for (what, whole) in hostile() {
        let error = scan(&[&whole]).expect_err(what);
        assert!(!error.to_string().is_empty(), "{what}");
    }
}

#[test]
fn a_field_that_is_no_file_has_a_bound_and_a_file_has_none() {
    let long = "x".repeat(usize::try_from(FIELD_MAX).unwrap());
    assert!(scan(&[form(&[field("prompt", &long)]).as_bytes()]).is_ok());
    let longer = format!("{long}x");
    assert!(scan(&[form(&[field("prompt", &longer)]).as_bytes()]).is_err());
    assert!(scan(&[form(&[file(&longer)]).as_bytes()]).is_ok());
}

#[test]
fn what_is_kept_is_small_however_the_form_comes() {
    let whole = form(&[field("model", "m"), file(&"\r\n--xY".repeat(50_000))]);
    let mut scanner = Scanner::new(&boundary(B));
    for byte in whole.as_bytes() {
        scanner.push(&[*byte]).unwrap();
        assert!(scanner.rest.capacity() <= 2 * HEAD_MAX);
    }
    assert!(scanner.form().is_closed());
}

/// The same at every split into two, and byte by byte.
fn any_split_is_the_same(what: &str, bytes: &[u8]) {
    let whole = scan(&[bytes]);
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(scan(&[first, second]), whole, "{what}, split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(scan(&single), whole, "{what}, byte by byte");
}

#[test]
fn no_split_of_any_form_changes_what_is_found() {
    for (what, whole) in hostile() {
        // The long ones are long by repetition.
        any_split_is_the_same(what, &whole[..whole.len().min(2_000)]);
    }
    let tricky = [
        "-",
        "--",
        "--x",
        "--xY",
        "\r\n--xY",
        "\r\n-\r\n--xY",
        "----xY",
        "\r\r\n",
        "\r\n",
    ];
    for data in tricky {
        let whole = form(&[file(data), field("model", "m"), field("n", data)]);
        any_split_is_the_same(data, whole.as_bytes());
        assert!(scan(&[whole.as_bytes()]).is_ok(), "{data:?}");
    }
}

proptest! {
    #[test]
    fn no_cut_changes_what_is_found(
        data in prop::collection::vec("(--xYz|--xY|-|\r\n|\r|\n|a|é|name=\"model\"){0,12}", 0..4),
        names in prop::collection::vec("(model|stream|n|x|file)", 4),
        ends in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let parts: Vec<String> = data.iter().zip(&names).map(|(data, name)| field(name, data)).collect();
        let mut whole = form(&parts).into_bytes();
        if !ends {
            whole.truncate(whole.len() - 3);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
        prop_assert_eq!(scan(&pieces), scan(&[&whole]));
    }

    #[test]
    fn any_bytes_can_be_scanned(bytes in prop::collection::vec(any::<u8>(), 0..300), rest in any::<bool>()) {
        let mut whole = if rest { form(&[file("")]).into_bytes() } else { Vec::new() };
        whole.truncate(whole.len().saturating_sub(9));
        whole.extend(&bytes);
        drop(scan(&[&whole]));
    }

    /// What is found is what stands there: whatever the data, the fields come out as they went in.
    #[test]
    fn what_went_in_comes_out(model in "[a-z0-9./-]{1,40}", data in "[a-z\r\n-]{0,200}") {
        let whole = form(&[file(&data), field("model", &model), field("prompt", &data)]);
        let found = scan(&[whole.as_bytes()]).unwrap();
        prop_assert_eq!(text(&found, "model"), Some(model.clone()));
        let place = found.value("model").unwrap().place.clone();
        let place = usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap();
        prop_assert_eq!(whole.get(place), Some(model.as_str()));
    }
}
