//! Records of the log as bytes.
