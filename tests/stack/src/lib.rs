//! The real parts that tests and demo run on.
