//! The real parts that tests and demo run on, each started from nothing and gone without a trace afterwards.
//!
//! In reading order: [`process`] (a program that never outlives us), [`cache`] (what is downloaded once),
//! [`postgres`] (a throw-away cluster and a database for each test).

pub mod cache;
pub mod postgres;
pub mod process;
