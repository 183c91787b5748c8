//! What runs to an end.
