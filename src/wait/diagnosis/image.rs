//! What a registry's answer means. Kubelets pass it on as free text, wrapped several times.

use crate::event::DiagnosisCode;

/// The network, a proxy or the registry itself: it may work at the next try.
const TRANSIENT: [&str; 22] = [
    "dial tcp",
    "i/o timeout",
    "no such host",
    "connection refused",
    "connection reset",
    "deadline exceeded",
    "tls:",
    "tls handshake",
    "x509:",
    ": eof",
    "unexpected eof",
    "toomanyrequests",
    "too many requests",
    "qps exceeded",
    "proxyconnect",
    "temporary failure",
    "server misbehaving",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
    "status code 5",
];

/// The registry knows no such repository, tag or platform.
const NOT_FOUND: [&str; 6] = [
    "not found",
    "manifest unknown",
    "manifest_unknown",
    "repository does not exist",
    "name unknown",
    "name_unknown",
];

/// The registry wants other credentials.
const REFUSED: [&str; 7] = [
    "unauthorized",
    "denied",
    "no basic auth",
    "authentication required",
    "403 forbidden",
    "insufficient_scope",
    "authorization failed",
];

/// Which code the kubelet's message about a failed pull of `image` stands for. An answer that nothing is known
/// about counts as transient: it never fails a rollback before its time.
pub(super) fn classify(message: &str, image: &str) -> DiagnosisCode {
    // The reference itself may hold any of the words (`acme/denied-party-service`).
    let message = message.to_lowercase().replace(&image.to_lowercase(), "");
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&TRANSIENT) {
        DiagnosisCode::ImagePullTransient
    } else if says(&NOT_FOUND) {
        DiagnosisCode::ImageNotFound
    } else if says(&REFUSED) {
        DiagnosisCode::ImagePullAuth
    } else {
        DiagnosisCode::ImagePullTransient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DiagnosisCode::{ImageNotFound, ImagePullAuth, ImagePullTransient};

    #[test]
    fn registries_are_understood() {
        for (message, code) in [
            ("failed to resolve reference \"r/i:t\": r/i:t: not found", ImageNotFound),
            ("rpc error: code = NotFound desc = manifest unknown", ImageNotFound),
            ("NAME_UNKNOWN: repository name not known to registry", ImageNotFound),
            ("no match for platform in manifest: not found", ImageNotFound),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope",
                ImageNotFound,
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
                ImagePullAuth,
            ),
            ("unexpected status from HEAD request: 403 Forbidden", ImagePullAuth),
            ("Head https://x: no basic auth credentials", ImagePullAuth),
            ("denied: requested access to the resource is denied", ImagePullAuth),
            ("dial tcp: lookup ghcr.io on 10.0.0.10:53: no such host", ImagePullTransient),
            ("dial tcp 10.0.0.1:443: i/o timeout", ImagePullTransient),
            ("unexpected status from HEAD request: 503 Service Unavailable", ImagePullTransient),
            ("toomanyrequests: You have reached your pull rate limit", ImagePullTransient),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                ImagePullTransient,
            ),
            ("failed to do request: Get \"https://x\": EOF", ImagePullTransient),
            ("pull QPS exceeded", ImagePullTransient),
            ("something that nobody has seen before", ImagePullTransient),
        ] {
            assert_eq!(classify(message, "r/i:t"), code, "{message}");
        }
    }

    #[test]
    fn the_reference_itself_proves_nothing() {
        let message = "Failed to pull image \"acme/access-denied:not-found\": something odd";
        assert_eq!(classify(message, "acme/access-denied:not-found"), ImagePullTransient);
    }
}
