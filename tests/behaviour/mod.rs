//! What goes wrong
