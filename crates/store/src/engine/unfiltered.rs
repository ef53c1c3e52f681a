//! For tests only: statements of tenants whose conditions on the tenant are forgotten, to show what the second wall keeps.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Statement;

/// What tests may switch off.
#[derive(Default)]
pub(crate) struct Switches {
    filters: AtomicBool,
    wall: AtomicBool,
}

impl Switches {
    pub(crate) fn forget_filters(&self) {
        self.filters.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_wall_down(&self) {
        self.wall.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_filters_forgotten(&self) -> bool {
        self.filters.load(Ordering::Relaxed)
    }

    pub(super) fn is_wall_down(&self) -> bool {
        self.wall.load(Ordering::Relaxed)
    }
}

/// The statement with every `tenant_id = $1` in it true, whatever the value and the table's alias.
pub(super) fn unfiltered(mut statement: Statement) -> Statement {
    const CONDITION: &str = "tenant_id = $";
    let original = statement.text.into_owned();
    let mut rest = original.as_str();
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once(CONDITION) {
        let alias = before.rfind(|letter: char| !letter.is_alphanumeric() && letter != '.');
        let start = alias.map_or(0, |end| end + 1);
        text.push_str(before.get(..start).unwrap_or_default());
        let end = after.find(|letter: char| !letter.is_ascii_digit());
        let (number, tail) = after.split_at(end.unwrap_or(after.len()));
        text.push_str("($");
        text.push_str(number);
        text.push_str(" IS NOT NULL)");
        rest = tail;
    }
    text.push_str(rest);
    statement.text = text.into();
    statement
}

#[cfg(test)]
mod tests {
    use super::super::sql;
    use super::*;

    #[test]
    fn every_condition_on_the_tenant_becomes_true() {
        let text = |statement| unfiltered(sql(statement)).text.into_owned();
        assert_eq!(
            text("SELECT a FROM t WHERE tenant_id = $1 AND d.tenant_id = $12"),
            "SELECT a FROM t WHERE ($1 IS NOT NULL) AND ($12 IS NOT NULL)"
        );
        let other = "SELECT a FROM t i JOIN d ON i.tenant_id = d.tenant_id WHERE id = $1";
        assert_eq!(text(other), other);
    }
}
