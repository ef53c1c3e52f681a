//! Several rules of one request: all that are broken are told at once.

use crate::error::AppError;

/// A rule that a field breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// The field's name, with a path where it is nested.
    pub field: &'static str,
    /// What is wrong, and what is right.
    pub reason: String,
}

/// The rules that were broken so far.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<BrokenRule>);

impl Rules {
    /// What comes of a rule that is kept; one that is broken is noted, any other error ends it.
    pub(crate) fn check<T>(&mut self, outcome: Result<T, AppError>) -> Result<Option<T>, AppError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(AppError::Invalid { field, reason }) => {
                self.note(BrokenRule { field, reason });
                Ok(None)
            }
            Err(AppError::Rules(broken)) => {
                for rule in broken {
                    self.note(rule);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses what broke a rule.
    pub(crate) fn end(mut self) -> Result<(), AppError> {
        match (self.0.len(), self.0.pop()) {
            (_, None) => Ok(()),
            (1, Some(BrokenRule { field, reason })) => Err(AppError::Invalid { field, reason }),
            (_, Some(last)) => {
                self.0.push(last);
                Err(AppError::Rules(self.0))
            }
        }
    }

    /// A field is told about once: what follows from its first mistake helps nobody.
    fn note(&mut self, rule: BrokenRule) {
        if self.0.iter().all(|known| known.field != rule.field) {
            self.0.push(rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(field: &'static str) -> Result<(), AppError> {
        let reason = "wrong".to_owned();
        Err(AppError::Invalid { field, reason })
    }

    #[test]
    fn every_broken_rule_is_told_once_and_in_order() {
        let mut rules = Rules::default();
        for field in ["name", "config", "name"] {
            assert!(rules.check(broken(field)).unwrap().is_none());
        }
        assert_eq!(rules.check(Ok(7)).unwrap(), Some(7));
        let Err(AppError::Rules(told)) = rules.end() else {
            panic!("two rules are broken");
        };
        let told: Vec<_> = told.iter().map(|rule| rule.field).collect();
        assert_eq!(told, ["name", "config"]);
    }

    #[test]
    fn what_is_no_broken_rule_ends_it() {
        let mut rules = Rules::default();
        let error = rules.check::<()>(Err(AppError::NotFound("tenant")));
        assert!(matches!(error, Err(AppError::NotFound(_))));
        assert!(rules.end().is_ok());
    }
}
