//! Names of Services inside the cluster: the smallest DNS server that charts need.
//!
//! It answers `SERVICE.NAMESPACE.svc.cluster.local` with the Service's address, or with its pods'
//! addresses when it is headless, by asking the API server. Every other name does not exist, as there
//! is nothing else to be reached.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::isolation::NODE_ADDRESS;
use crate::process::output_of;

/// The domain below which all Services are.
pub const DOMAIN: &str = "cluster.local";

/// How long an answer is good for: pods that wait for a Service ask all the time.
const FRESH: Duration = Duration::from_secs(1);

const TYPE_A: u16 = 1;
const NAME_DOES_NOT_EXIST: u8 = 3;

/// Answers questions on the node's address until the process ends.
pub fn serve(kubectl: PathBuf, kubeconfig: PathBuf) -> Result<()> {
    let socket = UdpSocket::bind((NODE_ADDRESS, 53))?;
    thread::spawn(move || {
        let mut known: HashMap<String, (Instant, Option<Vec<Ipv4Addr>>)> = HashMap::new();
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let Some(question) = Question::read(&packet[..length]) else {
                continue;
            };
            let fresh = known.get(&question.name).filter(|(since, _)| since.elapsed() < FRESH);
            let addresses = if let Some((_, addresses)) = fresh {
                addresses.clone()
            } else {
                let addresses = look_up(&kubectl, &kubeconfig, &question.name);
                known.insert(question.name.clone(), (Instant::now(), addresses.clone()));
                addresses
            };
            _ = socket.send_to(&question.answer(addresses.as_deref()), client);
        }
    });
    Ok(())
}

/// The addresses behind a name; nothing when it does not exist.
fn look_up(kubectl: &Path, kubeconfig: &Path, name: &str) -> Option<Vec<Ipv4Addr>> {
    let (service, namespace) = name.strip_suffix(&format!(".svc.{DOMAIN}"))?.split_once('.')?;
    if namespace.contains('.') {
        return None;
    }
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--namespace", namespace, "get"]).args(arguments);
        output_of(&mut command).ok()
    };
    let address = ask(&["service", service, "--output", "jsonpath={.spec.clusterIP}"])?;
    if let Ok(address) = address.parse() {
        return Some(vec![address]);
    }
    let selector = format!("kubernetes.io/service-name={service}");
    let ready = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}";
    let addresses = ask(&["endpointslices", "--selector", &selector, "--output", ready])?;
    Some(addresses.split_whitespace().filter_map(|address| address.parse().ok()).collect())
}

/// The one question of a packet (RFC 1035, 4.1).
struct Question {
    /// Header and question as they came: the answer begins with them.
    packet: Vec<u8>,
    /// In lower case, without the dot at the end.
    name: String,
    kind: u16,
}

impl Question {
    fn read(packet: &[u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut position = 12;
        loop {
            let length = usize::from(*packet.get(position)?);
            position += 1;
            if length == 0 {
                break;
            }
            let label = packet.get(position..position + length)?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            position += length;
        }
        let kind = u16::from_be_bytes(packet.get(position..position + 2)?.try_into().ok()?);
        let end = position + 4;
        Some(Self { packet: packet.get(..end)?.to_vec(), name: labels.join("."), kind })
    }

    fn answer(&self, addresses: Option<&[Ipv4Addr]>) -> Vec<u8> {
        // At most what fits into a packet without extensions.
        let records = match addresses {
            Some(addresses) if self.kind == TYPE_A => &addresses[..addresses.len().min(16)],
            _ => &[],
        };
        let mut answer = self.packet.clone();
        let wants_recursion = self.packet[2] & 1;
        // A response, authoritative, recursion as wanted and available.
        answer[2] = 0x84 | wants_recursion;
        answer[3] = 0x80 | if addresses.is_none() { NAME_DOES_NOT_EXIST } else { 0 };
        let count = u16::try_from(records.len()).unwrap_or_default();
        answer[4..6].copy_from_slice(&1_u16.to_be_bytes());
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer[8..12].fill(0);
        for address in records {
            // A pointer to the question's name, type A, class IN, one second to live, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.octets());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x05Redis\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01extension";

    #[test]
    fn a_question_is_answered_with_addresses() {
        let question = Question::read(PACKET).unwrap();
        assert_eq!(question.name, "redis.default.svc.cluster.local");
        let answer = question.answer(Some(&[Ipv4Addr::new(10, 96, 0, 7)]));
        assert_eq!(answer[..12], *b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00");
        assert!(answer.ends_with(&[0, 4, 10, 96, 0, 7]));
        assert_eq!(question.answer(None)[3], 0x83);
    }

    #[test]
    fn a_broken_packet_is_no_question() {
        for length in 0..12 {
            assert!(Question::read(&PACKET[..length]).is_none());
        }
        assert!(Question::read(&PACKET[..20]).is_none());
    }
}
