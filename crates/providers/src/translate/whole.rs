//! An answer that is no stream, gathered from its steps.

use super::step::{Counts, Lost, Step, Stop};

/// An answer that is whole.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) blocks: Vec<Block>,
    pub(super) counts: Counts,
    pub(super) stop: Option<Stop<'static>>,
}

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Block {
    Text(String),
    Call {
        key: u64,
        id: String,
        name: String,
        /// A JSON object as text.
        input: String,
    },
}

impl Whole {
    /// Takes a step.
    pub(super) fn take(&mut self, step: Step<'_>) -> Result<(), Lost> {
        match step {
            Step::Begin { id, model } => {
                let known = |text: &String| !text.is_empty();
                self.id = id.map(String::from).filter(known);
                self.model = model.map(String::from).filter(known);
            }
            Step::Text(text) => match self.blocks.last_mut() {
                Some(Block::Text(said)) => said.push_str(&text),
                _ => self.blocks.push(Block::Text(text.into_owned())),
            },
            Step::CallBegin { key, id, name } => self.blocks.push(Block::Call {
                key,
                id: id.into_owned(),
                name: name.into_owned(),
                input: String::new(),
            }),
            Step::CallInput { key, text } => self.input_of(key)?.push_str(&text),
            Step::CallEnd { key } => {
                let input = self.input_of(key)?;
                if input.trim().is_empty() {
                    "{}".clone_into(input);
                }
            }
            Step::Usage(counts) => self.counts.take(counts),
            Step::Stop(reason) => self.stop = Some(reason.into_owned()),
            Step::End => {}
            Step::Error { .. } => return Err(Lost),
        }
        Ok(())
    }

    fn input_of(&mut self, sought: u64) -> Result<&mut String, Lost> {
        let mut blocks = self.blocks.iter_mut();
        let found = blocks.find_map(|block| match block {
            Block::Call { key, input, .. } if *key == sought => Some(input),
            Block::Text(_) | Block::Call { .. } => None,
        });
        found.ok_or(Lost)
    }

    /// Whether it calls a tool.
    pub(super) fn calls(&self) -> bool {
        self.blocks
            .iter()
            .any(|block| matches!(block, Block::Call { .. }))
    }
}
