"""Tables of Kamailio, so that its data and tools can be used (schema of 5.6).

Times are UTC. Rows are found by `ruid`, which we derive from address-of-record and contact.
"""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Float, Index, Integer, MetaData, String, Table, UniqueConstraint

metadata = MetaData()

version = Table(
    "version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String(32), nullable=False),
    Column("table_version", Integer, nullable=False, default=0),
    UniqueConstraint("table_name", name="table_name_idx"),
)

location = Table(
    "location",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ruid", String(64), nullable=False, default=""),
    Column("username", String(64), nullable=False, default=""),
    Column("domain", String(64)),
    Column("contact", String(512), nullable=False, default=""),
    Column("received", String(128)),
    Column("path", String(512)),
    Column("expires", DateTime, nullable=False),
    Column("q", Float, nullable=False, default=1.0),
    Column("callid", String(255), nullable=False, default="Default-Call-ID"),
    Column("cseq", Integer, nullable=False, default=1),
    Column("last_modified", DateTime, nullable=False),
    Column("flags", Integer, nullable=False, default=0),
    Column("cflags", Integer, nullable=False, default=0),
    Column("user_agent", String(255), nullable=False, default=""),
    Column("socket", String(64)),
    Column("methods", Integer),
    Column("instance", String(255)),
    Column("reg_id", Integer, nullable=False, default=0),
    Column("server_id", Integer, nullable=False, default=0),
    Column("connection_id", Integer, nullable=False, default=0),
    Column("keepalive", Integer, nullable=False, default=0),
    Column("partition", Integer, nullable=False, default=0),
    UniqueConstraint("ruid", name="ruid_idx"),
    Index("account_contact_idx", "username", "domain", "contact"),
    Index("expires_idx", "expires"),
)

subscriber = Table(
    "subscriber",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("username", String(64), nullable=False, default=""),
    Column("domain", String(64), nullable=False, default=""),
    Column("password", String(64), nullable=False, default=""),
    Column("ha1", String(128), nullable=False, default=""),
    Column("ha1b", String(128), nullable=False, default=""),
    UniqueConstraint("username", "domain", name="account_idx"),
)

uacreg = Table(
    "uacreg",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("l_uuid", String(64), nullable=False, default=""),
    Column("l_username", String(64), nullable=False, default=""),
    Column("l_domain", String(64), nullable=False, default=""),
    Column("r_username", String(64), nullable=False, default=""),
    Column("r_domain", String(64), nullable=False, default=""),
    Column("realm", String(64), nullable=False, default=""),
    Column("auth_username", String(64), nullable=False, default=""),
    Column("auth_password", String(64), nullable=False, default=""),
    Column("auth_ha1", String(128), nullable=False, default=""),
    Column("auth_proxy", String(255), nullable=False, default=""),
    Column("expires", Integer, nullable=False, default=0),
    Column("flags", Integer, nullable=False, default=0),
    Column("reg_delay", Integer, nullable=False, default=0),
    Column("contact_addr", String(255), nullable=False, default=""),
    Column("socket", String(128), nullable=False, default=""),
    UniqueConstraint("l_uuid", name="l_uuid_idx"),
)

address = Table(
    "address",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("grp", Integer, nullable=False, default=1),
    Column("ip_addr", String(50), nullable=False),
    Column("mask", Integer, nullable=False, default=32),
    Column("port", Integer, nullable=False, default=0),
    Column("tag", String(64)),
)

state = Table(
    "genproxy_state",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
)

VERSIONS = {"location": 9, "subscriber": 7, "uacreg": 5, "address": 6}
"""What Kamailio 5.6 expects to find in `version`."""
