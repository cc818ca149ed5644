"""Subscribers and the hashes of their passwords (guide 11.2)."""

from hashlib import md5

from haproxy.registrar.subscriber import Subscriber, Subscribers


def test_hashes_of_a_password() -> None:
    subscriber = Subscriber.with_password(b"5000", b"10.9.7.130", b"secret")
    assert subscriber.ha1.decode() == md5(b"5000:10.9.7.130:secret").hexdigest()
    assert subscriber.ha1b.decode() == md5(b"5000@10.9.7.130:10.9.7.130:secret").hexdigest()


def test_no_secret_in_its_text() -> None:
    subscriber = Subscriber.with_password(b"5000", b"example.org", b"secret")
    assert subscriber.ha1.decode() not in repr(subscriber)


def test_replacing() -> None:
    subscribers = Subscribers([Subscriber(b"5000", b"Example.ORG")])
    assert subscribers.find(b"5000@example.org") is not None
    subscribers.replace([])
    assert subscribers.find(b"5000@example.org") is None
    assert len(subscribers) == 0
