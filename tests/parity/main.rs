//! Parity with Helm: the same starting state is built twice, one side is rolled back by Helm 3 or 4, the other by the
//! program, and then objects, records and exits are compared. What differs must be explained in `differences.rs`,
//! from which `docs/parity.md` is made.
//!
//! `cargo xtask test` starts the cluster and names it in the environment as for the end-to-end tests, whose harness
//! this is. `KUBECTL_ROLLBACK_TEST_CONTENDER=helm` lets Helm play both sides, which must find no difference at all.

#[expect(dead_code, unused_imports, reason = "the harness serves the end-to-end tests as well")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

mod bugs;
mod compare;
mod contender;
mod continued;
mod differences;
mod objects;
mod preview;
mod records;
mod scenarios;
mod side;
mod story;
mod tickets;
