//! Statements that undo an edit.
