//! A client and a server that say anything, in any order: the exchange does not panic, holds little,
//! and comes to an end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reuseport_run::wire::http::{ClientLines, Exchange, When, MAX_HEAD_LEN, beginning};

/// The most that may wait in one direction: a head that is too long by a piece, and the lines that
/// are added to it.
const MAX_BUFFERED: usize = 4 * MAX_HEAD_LEN;

fuzz_target!(|script: &[u8]| {
    let mut exchange = Exchange::new(ClientLines::default().with("X-Forwarded-For", "192.0.2.1".to_owned(), When::Always));
    let mut rest = script;
    // What happens, and for how many bytes; then the bytes.
    while let [event, length, more @ ..] = rest {
        let (bytes, others) = more.split_at(more.len().min(usize::from(*length) * 4));
        rest = others;
        happen(&mut exchange, *event, bytes);
        assert!(exchange.to_client().len() <= MAX_BUFFERED && exchange.to_server().len() <= MAX_BUFFERED);
    }
    conclude(&mut exchange);
});

fn happen(exchange: &mut Exchange, event: u8, bytes: &[u8]) {
    let _ = beginning(bytes);
    match event % 8 {
        0 | 1 => exchange.client_sent(&bytes[..bytes.len().min(exchange.room_from_client())]),
        2 | 3 => exchange.server_sent(&bytes[..bytes.len().min(exchange.room_from_server())]),
        4 => exchange.was_sent_to_client(exchange.to_client().len().min(bytes.len())),
        5 => exchange.was_sent_to_server(exchange.to_server().len().min(bytes.len())),
        6 if event & 8 == 0 => exchange.client_closed(),
        6 => exchange.server_closed(),
        _ => exchange.server_failed(event & 8 == 0),
    }
}

/// Both have gone, and take what there is for them.
fn conclude(exchange: &mut Exchange) {
    exchange.client_closed();
    for _ in 0..1000 {
        exchange.was_sent_to_client(exchange.to_client().len());
        exchange.was_sent_to_server(exchange.to_server().len());
        if exchange.ending().is_some() {
            return;
        }
        exchange.server_closed();
        exchange.server_failed(true);
    }
    panic!("the exchange has no end");
}
