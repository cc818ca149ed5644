"""What a machine has to do beside a run."""

import socket
import subprocess
import sys
import time

from endurance.machine import Machine, times
from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import wait_until


def test_what_our_own_processes_do_is_not_taken_for_others_work() -> None:
    before = times()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        wait_until(lambda: times().own - before.own > 0.3, 20, "the child's work")
        child.kill()
    after = times()
    assert after.own - before.own > 0.3  # nor what those did that have ended
    assert after.all > before.all
    # iowait may go down (proc_stat(5)), which looks like work.
    assert after.busy - before.busy <= after.all - before.all + 0.1


def test_datagrams_that_find_a_full_buffer_are_counted() -> None:
    host = own_host()
    with (
        Machine() as machine,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        deaf.bind((host, 0))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        begin = time.time()
        for _ in range(100):
            sender.sendto(bytes(1000), deaf.getsockname())
        wait_until(lambda: host in machine.overruns(), 20, "the look at sockets")
        lost = machine.overruns()[host]
        assert 50 < lost.number < 100
        assert begin <= lost.first <= lost.last <= time.time()
    assert machine.others
    assert all(0 <= share <= 1 for share in machine.others)
    assert "others had" in str(machine)
