//! What is sent again when it went wrong. Whatever persists nothing may always be sent again: the connection broke, the
//! answer never came, the server stumbled. A write only where the server itself says that it has not even looked at it; what
//! else a write needs is known where it is made.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tower::BoxError;
use tower::retry::Policy;

use super::client::{is_for_an_application, is_write};

/// How often what persists nothing is sent again.
const MOST: u32 = 4;
/// The pause before the first repetition; it doubles.
const PAUSE: Duration = Duration::from_millis(150);

/// The policy of the one client.
#[derive(Clone)]
pub struct Patience {
    /// 429, 503, 504, with `Retry-After`: for everything.
    asked: RetryPolicy,
    repeated: u32,
}

impl Patience {
    /// With nothing sent yet.
    pub fn new() -> Self {
        let asked = RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(5), 6, true)
            .expect("the delays are in order and not zero");
        Self { asked, repeated: 0 }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the same request may be answered otherwise in a moment.
fn is_stumble(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::GONE
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
    )
}

/// Whether a request may be sent again whatever became of it. A watch is taken up again by whoever watches, and a page that
/// has expired expires again.
fn is_repeatable(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    !is_write(request) && !query.contains("watch=true") && !query.contains("continue=")
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Patience {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let is_stumble = match result {
            Ok(response) => is_stumble(response.status()),
            Err(_) => true,
        };
        if is_stumble && self.repeated < MOST && is_repeatable(request) {
            let pause = crate::execute::operation::pause_of(PAUSE, self.repeated);
            self.repeated += 1;
            return Some(tokio::time::sleep(pause));
        }
        self.asked.retry(request, result)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        // That an application behind the API server's proxy says 503 is what a check wants to know, at once.
        if is_for_an_application(request) {
            return None;
        }
        Policy::<Request<Body>, Response<B>, BoxError>::clone_request(&mut self.asked, request)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[tokio::test]
    async fn only_what_persists_nothing_is_sent_again_after_a_broken_connection() {
        let repeats = |method: Method, uri: &str| {
            let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
            let mut broken: Result<Response<()>, BoxError> = Err("connection reset".into());
            let mut patience = Patience::new();
            let mut count = 0;
            while patience.retry(&mut request, &mut broken).is_some() {
                count += 1;
            }
            count
        };
        assert_eq!(repeats(Method::GET, "/api/v1/pods"), MOST);
        assert_eq!(repeats(Method::PATCH, "/api/v1/pods/a?dryRun=All"), MOST);
        assert_eq!(repeats(Method::PATCH, "/api/v1/pods/a"), 0);
        assert_eq!(repeats(Method::GET, "/api/v1/pods?watch=true"), 0);
        assert_eq!(repeats(Method::GET, "/api/v1/pods?limit=5&continue=x"), 0);
    }
}
