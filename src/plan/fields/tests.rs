//! Tables and properties of the set algebra.
