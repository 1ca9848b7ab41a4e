//! Which room a message really goes to, and why a room refuses one. Asks the homeserver; sends no message.

pub mod book;
pub mod diagnosis;
pub mod direct;
pub mod direct_book;
mod power;
