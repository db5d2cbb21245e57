//! Where there are fewer descriptors than connections.

use super::*;

const LIMIT: usize = 64;
const CLIENTS: usize = 100;

#[test]
fn what_does_not_fit_is_closed_as_without_a_rescuer() {
    // The workers have one of their own: theirs is not what is looked at.
    let script = format!(r#"ulimit -n {LIMIT}; exec "$@""#);
    let options = ["-n", "3", "--quiet-timeout", "300ms"];
    let supervisor = scripted(&options, &[]).through_shell(&script).start();
    supervisor.wait_serving(3);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::served(supervisor.address()).0)
        .collect();
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(3);
    let mut rescued = 0;
    for client in &mut clients {
        client.0.write_all(b"GET / HTTP/1.1\r\n\r\n").ok();
        match client.answer() {
            Ok(answer) => {
                assert!(
                    answer.worker().starts_with("2.") && answer.is_last(),
                    "{answer:?}"
                );
                rescued += 1;
            }
            Err(_) => assert!(client.rest().is_empty()),
        }
    }
    drop(clients);
    let rescue = wait_rescued(&supervisor);
    assert!(rescued >= 10, "{rescued} of {CLIENTS}: {rescue:?}");
    assert_eq!(rescue.held, CLIENTS as u64, "{rescue:?}");
    assert_eq!(
        (rescue.rescued, rescue.given_up),
        (rescued, CLIENTS as u64 - rescued),
        "{rescue:?}"
    );
    assert_eq!(
        rescue.reasons.get("too-many"),
        Some(&rescue.given_up),
        "{rescue:?}"
    );
    supervisor.wait_line("too-many");
    // It has not lost anything for good.
    supervisor.ctl_ok(["reload"]);
    assert!(ask(supervisor.address()).unwrap().starts_with("3."));
}
