//! Which room a message really goes to, and why a room refuses one. Asks the homeserver; sends no message.

pub(crate) mod book;
pub(crate) mod diagnosis;
pub(crate) mod direct;
pub(crate) mod direct_book;
mod power;
