//! Are the images there that pods will pull? Asked of their registries, and of the nodes, which may have them already.
//!
//! A missing image blocks; what nobody tells (no network, a private registry) is unknown and never blocks.

mod ask;
mod judge;
mod nodes;
mod wanted;

use super::TIME_BOX;
use crate::context::Context;
use crate::event::Finding;
use wanted::Wanted;

pub use wanted::{of_plan, of_rollback};

/// Asks for every image at once and says what was found, within the time box.
pub async fn findings(context: &Context, wanted: &[Wanted]) -> Vec<Finding> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let deadline = tokio::time::Instant::now() + TIME_BOX;
    let answers = ask::registries(context, wanted, deadline).await;
    let questions = judge::questions(wanted, &answers);
    let nodes = tokio::time::timeout_at(deadline, nodes::read(&context.client, questions));
    let nodes = nodes.await.ok().flatten();
    judge::findings(wanted, &answers, nodes.as_deref())
}
