"""What the tests of both daemons stand on: a real reactor, real daemons, and a lossy wire in memory."""
