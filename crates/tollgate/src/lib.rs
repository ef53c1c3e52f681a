//! The program: settings, wiring, commands.

pub mod replay;
pub mod simulate;
