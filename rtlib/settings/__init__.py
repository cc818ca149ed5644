"""Settings: pydantic models are the schema; readers of three file formats fill them or say what is wrong.

A section is a `Section` whose fields are made with `setting`; nothing is declared twice. The
readers `directives.read`, `keyvalue.read` and `toml.read` return the model or raise `SettingsError`.
"""

from rtlib.settings.problem import Problem, SettingsError
from rtlib.settings.schema import Section, setting

__all__ = ["Problem", "Section", "SettingsError", "setting"]
