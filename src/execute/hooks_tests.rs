//! Hooks against canned answers.
