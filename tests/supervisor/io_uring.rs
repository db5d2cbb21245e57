//! Servers that bind and listen by io_uring, past the filter.

use crate::support::*;

/// Binds and listens by io_uring, with the kernel's interface (io_uring_setup(2), linux/io_uring.h).
const SERVER: &str = "
import ctypes, mmap, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
params = ctypes.create_string_buffer(120)
ring = libc.syscall(425, 8, params)
if ring < 0: sys.exit('no io_uring: ' + os.strerror(ctypes.get_errno()))
p = struct.unpack('30I', params)
sq = mmap.mmap(ring, p[16] + 4 * p[0], offset=0)
cq = mmap.mmap(ring, p[25] + 16 * p[1], offset=0x8000000)
entries = mmap.mmap(ring, 64 * p[0], offset=0x10000000)
def call(operation, fd, off, addr, length):
    struct.pack_into('<BBHiQQI', entries, 0, operation, 0, 0, fd, off, addr, length)
    tail, = struct.unpack_from('I', sq, p[11])
    struct.pack_into('I', sq, p[16] + 4 * (tail & (p[0] - 1)), 0)
    struct.pack_into('I', sq, p[11], tail + 1)
    if libc.syscall(426, ring, 1, 1, 1, None, 0) != 1: sys.exit('io_uring_enter failed')
    head, = struct.unpack_from('I', cq, p[20])
    result, = struct.unpack_from('i', cq, p[25] + 16 * (head & (p[1] - 1)) + 8)
    struct.pack_into('I', cq, p[20], head + 1)
    return result
listener = socket.socket()
if os.environ['REUSEPORT_WORKER'] == '0':
    # The test has reserved the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
else:
    while socket.socket().connect_ex(('127.0.0.1', {port})) != 0: pass
address = ctypes.create_string_buffer(struct.pack('=H', 2) + struct.pack('>H', {port}) + bytes(12), 16)
bound = call(56, listener.fileno(), 16, ctypes.addressof(address), 0)
if bound == -22: sys.exit('no io_uring: it has no bind')
if bound < 0: sys.exit('cannot bind: ' + os.strerror(-bound))
call(57, listener.fileno(), 0, 0, 128)
while True: listener.accept()
";

/// What the supervisor says of workers that listen so.
const UNHEARD: &str =
    "did not get there by bind(2) with a fixed port (io_uring? port 0?), so it cannot be steered";

#[track_caller]
fn is_told(options: &[&str]) {
    let Some(builder) = scripted_python(options, SERVER) else {
        return;
    };
    let refusal = refusal(builder.start());
    if refusal.contains("no io_uring") {
        return skipped("bind and listen by io_uring (Linux 6.11)");
    }
    assert!(refusal.contains(UNHEARD), "{refusal}");
}

#[test]
fn a_worker_that_listens_past_the_filter_is_told_of() {
    // The server must have come that far by then, also on a busy machine.
    is_told(&["-n", "1", "--start-timeout", "25s"]);
}

#[test]
fn a_worker_that_finds_the_address_of_such_a_one_in_use_is_no_riddle() {
    is_told(&["-n", "2"]);
}
