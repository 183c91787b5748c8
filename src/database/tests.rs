use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::Workload;

mod django;
mod flyway;

/// Settings that say nothing but the program.
pub fn settings(adapter: Adapter) -> DatabaseConfig {
    DatabaseConfig::of(adapter, "deploy/web".parse::<Workload>().unwrap())
}

pub fn said(question: Question, code: i32, stdout: &str, stderr: &str) -> Said {
    Said { question, code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

pub fn ids(migrations: &[Migration]) -> Vec<&str> {
    migrations.iter().map(|migration| migration.id.as_str()).collect()
}

/// What alembic 1.20 prints.
const HISTORY: &str = "1a2b3c4d5e02 -> 1a2b3c4d5e03 (head), step 3, with: comma -> arrow\n\
                       1a2b3c4d5e01 -> 1a2b3c4d5e02, step 2\n<base> -> 1a2b3c4d5e01, step 1\n";
const BRANCHES: &str = "bb, 1a2b3c4d5e03 -> mm (side) (head) (mergepoint), merge\n1a2b3c4d5e02 -> bb (side), branch\n\
                        1a2b3c4d5e02 (bb) -> 1a2b3c4d5e03, step 3\n1a2b3c4d5e01 -> 1a2b3c4d5e02 (branchpoint), step 2\n<base> -> 1a2b3c4d5e01, step 1\n";

fn alembic(current: (i32, &str, &str), history: &str) -> Result<Reading, ReadError> {
    let all =
        [said(Question::Current, current.0, current.1, current.2), said(Question::History, 0, history, "")];
    read(&settings(Adapter::Alembic), Wanted::Database, &all)
}

#[test]
fn alembic_says_where_the_database_is() {
    for (current, history, at, applied, lost) in [
        ((0, "1a2b3c4d5e03 (head)\n", ""), HISTORY, "1a2b3c4d5e03", 3, ""),
        ((0, "1a2b3c4d5e02\n", ""), HISTORY, "1a2b3c4d5e02", 2, ""),
        ((0, "", "INFO  [x] y\n"), HISTORY, "", 0, ""),
        ((0, "starting up\nmm (side) (head) (mergepoint)\n", ""), BRANCHES, "mm", 5, ""),
        ((0, "bb\n1a2b3c4d5e03\n", ""), BRANCHES, "bb 1a2b3c4d5e03", 4, ""),
        (
            (
                255,
                "",
                "INFO  [x] y\nERROR [alembic.util.messaging] Can't locate revision identified by '9f'\nFAILED: …\n",
            ),
            HISTORY,
            "",
            0,
            "9f",
        ),
    ] {
        let reading = alembic(current, history).unwrap();
        assert_eq!(reading.at.join(" "), at);
        assert_eq!((reading.applied.len(), reading.lost.join(" ").as_str()), (applied, lost), "{current:?}");
    }
    let reading = alembic((0, "mm\n", ""), BRANCHES).unwrap();
    assert_eq!(reading.known[0].parents, ["bb", "1a2b3c4d5e03"]);
    // One depends on a branch that is not below it.
    assert_eq!(reading.known[2].parents, ["1a2b3c4d5e02", "bb"]);
    let reading = alembic((0, "1a2b3c4d5e03\n", ""), HISTORY).unwrap();
    assert_eq!(reading.known[0].description, "step 3, with: comma -> arrow");
}

#[test]
fn what_alembic_fails_with_is_said_without_credentials() {
    let refused = "sqlalchemy.exc.OperationalError: (postgresql://todo:hunter2@db/todo) connection refused\n";
    let error = alembic((1, "", refused), "<base> -> x (head), a\n").unwrap_err().to_string();
    assert!(error.starts_with("asked for its current, it ended with exit code 1: sqlalchemy"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = alembic((0, "", ""), "a => b -> c -> d\n").unwrap_err().to_string();
    assert!(error.contains("is no line of a history"), "{error}");
    let error = alembic((0, "", ""), &HISTORY.replace(" (head)", "")).unwrap_err().to_string();
    assert!(error.contains("none of 3 migrations is a head"), "{error}");
    let error = read(&settings(Adapter::Alembic), Wanted::Image, &[]).unwrap_err().to_string();
    assert_eq!(error, "it said nothing about its history");
}

#[test]
fn commands_of_a_team_are_read_line_by_line() {
    let mut config = settings(Adapter::Command);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    config.commands = Some(crate::config::Commands {
        current: words("db now"),
        history: words("db list"),
        downgrade: words("db down {from} {to}"),
        sql: Vec::new(),
    });
    let all = [
        said(Question::Current, 0, "\n2\n", ""),
        said(Question::History, 0, "3 third one\n2\tsecond\n1\n", ""),
    ];
    let reading = read(&config, Wanted::Database, &all).unwrap();
    assert_eq!((reading.heads.join(""), reading.applied.join("")), ("3".into(), "21".into()));
    assert_eq!(reading.known[0].description, "third one");
    let lost = [said(Question::Current, 0, "9\n", ""), all[1].clone()];
    assert_eq!(read(&config, Wanted::Database, &lost).unwrap().lost, ["9"]);
    let plan = Downgrade { from: vec!["3".into()], to: vec!["1".into()], steps: Vec::new() };
    assert_eq!(downgrade(&config, &plan), [["db", "down", "3", "1"]]);
    assert!(sql(&config, &plan).is_empty());
}

#[test]
fn each_program_is_told_in_its_own_words() {
    let migration = |id: &str| Migration { id: id.to_owned(), ..Migration::default() };
    let plan = |from: &str, to: &[&str], steps: &[&str]| Downgrade {
        from: vec![from.to_owned()],
        to: to.iter().map(ToString::to_string).collect(),
        steps: steps.iter().map(|id| migration(id)).collect(),
    };
    let said = |adapter, plan: &Downgrade| -> (String, String) {
        let flat = |commands: Vec<Vec<String>>| {
            commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join("; ")
        };
        (flat(downgrade(&settings(adapter), plan)), flat(sql(&settings(adapter), plan)))
    };
    for (adapter, plan, down, sql) in [
        (
            Adapter::Alembic,
            plan("03", &["02"], &["03"]),
            "alembic downgrade 02",
            "alembic downgrade 03:02 --sql",
        ),
        (
            Adapter::Alembic,
            plan("03", &[], &["03"]),
            "alembic downgrade base",
            "alembic downgrade 03:base --sql",
        ),
        (
            Adapter::Django,
            plan("b.2", &["b.1", "a.zero"], &["b.2", "a.1"]),
            "python manage.py migrate --no-input b 1; python manage.py migrate --no-input a zero",
            "python manage.py sqlmigrate b 2 --backwards; python manage.py sqlmigrate a 1 --backwards",
        ),
        (Adapter::Flyway, plan("4", &["2"], &["4", "3"]), "flyway undo -target=3", ""),
    ] {
        assert_eq!(said(adapter, &plan), (down.to_owned(), sql.to_owned()));
    }
}

/// What a real shell makes of a script.
fn run(script: &str) -> (i32, String) {
    // As in the log of a pod, both streams are one.
    let script = format!("exec 2>&1\n{script}");
    let output = Command::new("sh").args(["-c", &script]).env_remove("PGOPTIONS").output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_shell_keeps_output_and_errors_apart() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let asked = vec![
        (Question::Current, words(&["printf", "it's %s", "$here"])),
        (Question::Sql, words(&["sh", "-c", "echo bad >&2; echo good; exit 3"])),
        (Question::History, words(&["no-such-program"])),
    ];
    let (code, log) = run(&job::questions(&asked));
    assert_eq!(code, 0);
    let found = job::answers(&log, &asked);
    assert_eq!(found.len(), 3, "{log}");
    assert_eq!((found[0].code, found[0].stdout.trim()), (0, "it's $here"));
    assert_eq!((found[1].code, found[1].stdout.trim(), found[1].stderr.trim()), (3, "good", "bad"));
    assert_eq!(found[2].code, 127);
    // A log that ends in the middle answers what stands in it.
    let cut = log.find("::kubectl-rollback begin history").unwrap();
    assert_eq!(job::answers(&log[..cut + 20], &asked).len(), 2);
}

#[test]
fn a_downgrade_ends_with_the_first_command_that_fails() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let mut config = settings(Adapter::Alembic);
    let show = words(&["sh", "-c", "echo \"[$PGOPTIONS]\""]);
    let asked = vec![(Question::Current, show.clone())];
    let ends = |commands: &[Vec<String>], config: &DatabaseConfig| {
        let (code, log) = run(&job::downgrade(commands, &asked, config));
        let at = job::answers(&log, &asked).remove(0).stdout;
        (code, job::words(&log).to_owned(), at.trim().to_owned())
    };
    let is = |code: i32, said: &str| (code, said.to_owned(), "[]".to_owned());
    // Where the database is is asked in any case, and without limits.
    let fails = words(&["sh", "-c", "echo bad >&2; exit 4"]);
    assert_eq!(ends(&[fails, show.clone()], &config), is(4, "bad"));
    assert_eq!(ends(&[words(&["true"]), show.clone()], &config), is(0, "[ -c lock_timeout=10000]"));
    config.statement_timeout = Duration::from_millis(1500);
    let script = job::downgrade(std::slice::from_ref(&show), &[], &config);
    let (_, log) = run(&format!("export PGOPTIONS='-c search_path=x'\n{script}"));
    assert_eq!(log, "[-c search_path=x -c lock_timeout=10000 -c statement_timeout=1500]\n");
    (config.lock_timeout, config.statement_timeout) = (Duration::ZERO, Duration::ZERO);
    assert_eq!(ends(&[show], &config), is(0, "[]"));
}

#[test]
fn a_job_takes_over_what_the_program_needs_and_nothing_else() {
    let template = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"dapr.io/enabled": "true", "vault.hashicorp.com/role": "web"}},
        "spec": {
            "serviceAccountName": "web", "imagePullSecrets": [{"name": "pull"}], "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 600, "topologySpreadConstraints": [{}],
            "affinity": {"nodeAffinity": {"n": 1}, "podAntiAffinity": {"p": 1}},
            "volumes": [{"name": "config"}, {"name": "cache"}],
            "initContainers": [{"name": "migrate", "image": "web:2"}],
            "containers": [
                {"name": "proxy", "image": "proxy:1"},
                {"name": "web", "image": "web:2", "env": [{"name": "DATABASE_URL"}], "ports": [{"containerPort": 80}],
                 "readinessProbe": {}, "lifecycle": {}, "resources": {"limits": {}}, "workingDir": "/app", "command": ["serve"], "args": ["-v"],
                 "volumeMounts": [{"name": "config", "mountPath": "/c"}, {"name": "claim", "mountPath": "/d"}]},
            ],
        },
    });
    let mut config = settings(Adapter::Alembic);
    config.pod_labels = [("network".to_owned(), "database".to_owned())].into();
    let order = job::Order {
        name: "kubectl-rollback-7f3a-db",
        operation: "7f3a",
        purpose: "downgrade",
        container: "web",
        image: "web:2",
        script: "exec alembic",
        limit: Duration::from_secs(600),
        stays: Duration::from_secs(3600),
    };
    insta::assert_snapshot!(serde_saphyr::to_string(&job::job(&template, &config, &order).unwrap()).unwrap());
    assert_eq!(job::job(&template, &config, &job::Order { container: "other", ..order }), None);
}
