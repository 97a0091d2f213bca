//! The log as files in the directory of the state.
