//! Services of every type, ingresses, network policies.

use super::*;

fn service(name: &str, spec: &str) -> String {
    format!("\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

const WEB_PORT: &str = "ports: [{name: http, port: 80, targetPort: 8000}]";

scenarios! {
    cluster_ip_ports_and_selector [helm_3 helm_4] {
        state: |side| {
            side.install(service("web", "{selector: {app: web, track: stable}, ports: [{name: http, port: 80, targetPort: 8000}, {name: admin, port: 9000}]}"));
            side.upgrade(service("web", "{selector: {app: web}, sessionAffinity: ClientIP, ports: [{name: http, port: 80, targetPort: web}, {name: metrics, port: 9100}]}"));
        },
    }
    node_port_back_to_cluster_ip [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(service("web", &format!("{{selector: {{app: web}}, {WEB_PORT}}}")));
            side.upgrade(service("web", &format!("{{type: NodePort, externalTrafficPolicy: Local, selector: {{app: web}}, {WEB_PORT}}}")));
        },
    }
    load_balancer_back_to_cluster_ip [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(service("web", &format!("{{type: ClusterIP, selector: {{app: web}}, {WEB_PORT}}}")));
            side.upgrade(service("web", &format!("{{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8], selector: {{app: web}}, {WEB_PORT}}}")));
        },
    }
    cluster_ip_back_to_load_balancer [helm_3 helm_4] {
        state: |side| {
            side.install(service("web", &format!("{{type: LoadBalancer, selector: {{app: web}}, {WEB_PORT}}}")));
            side.upgrade(service("web", &format!("{{selector: {{app: web}}, {WEB_PORT}}}")));
        },
    }
    external_name_back_to_cluster_ip [helm_3 helm_4] {
        state: |side| {
            side.install(service("web", &format!("{{type: ClusterIP, selector: {{app: web}}, {WEB_PORT}}}")));
            side.upgrade(service("web", "{type: ExternalName, externalName: web.example.com}"));
        },
    }
    cluster_ip_back_to_external_name [helm_3 helm_4] {
        state: |side| {
            side.install(service("web", "{type: ExternalName, externalName: web.example.com}"));
            side.upgrade(service("web", &format!("{{type: ClusterIP, selector: {{app: web}}, {WEB_PORT}}}")));
        },
    }
    headless [helm_3 helm_4] {
        state: |side| {
            side.install(service("web", "{clusterIP: None, selector: {app: web}, ports: [{port: 80}]}"));
            side.upgrade(service("web", "{clusterIP: None, publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 81}]}"));
        },
    }
    one_port_number_two_protocols [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(service("dns", "{selector: {app: dns}, ports: [{name: tcp, port: 53, protocol: TCP, targetPort: 5353}, {name: udp, port: 53, protocol: UDP, targetPort: 5354}]}"));
            side.upgrade(service("dns", "{selector: {app: dns}, ports: [{name: tcp, port: 53, protocol: TCP, targetPort: 6353}, {name: udp, port: 53, protocol: UDP, targetPort: 6354}]}"));
        },
    }
    ingress [helm_3 helm_4] {
        state: |side| {
            let rule = |host: &str, port: u32| format!("{{host: {host}, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: {port}}}}}}}}}]}}}}");
            let ingress = |annotation: &str, spec: String| format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web, annotations: {{{annotation}: \"1\"}}}}\nspec: {{{spec}}}\n");
            side.install(ingress("old", format!("ingressClassName: one, tls: [{{hosts: [a.example.com], secretName: a}}], rules: [{}, {}]", rule("a.example.com", 80), rule("b.example.com", 81))));
            side.upgrade(ingress("new", format!("ingressClassName: two, rules: [{}]", rule("a.example.com", 8080))));
        },
    }
    network_policy [helm_3 helm_4] {
        state: |side| {
            let policy = |spec: &str| format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web}}\nspec: {spec}\n");
            side.install(policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 443}]}]}"));
            side.upgrade(policy("{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"));
        },
    }
}
