"""`[database]`: where bindings and subscribers are kept (guide 13)."""

from __future__ import annotations

from typing import Literal

from rtlib.settings import Section, setting


class Database(Section):
    """Database configuration."""

    dbEngine: Literal["SQLite", "MySQL", "MS SQL"] = setting(
        "SQLite", "database of the proxy; SQLite is a file in the state directory and needs no server"
    )
    rootPass: str = setting("", "MySQL: password of root", secret=True)
    dbHost: str = setting("", "MS SQL: [protocol:]host[,port]", pattern=r"^((tcp:)?[^\s,:]+(,\d{1,5})?)?$")
    kamDatabase: str = setting("kamailio", "MS SQL: name of the database")
    dbrwUser: str = setting("amtelco", "MS SQL: user with read and write access")
    dbrwPass: str = setting("", "password with read and write access", secret=True)
    dbroPass: str = setting("", "MySQL: password of the users that only read", secret=True)
    replicationPass: str = setting("", "MySQL: password for replication", secret=True)
