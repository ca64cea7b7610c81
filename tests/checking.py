"""The type checker of `make test`: shapes and types of every call, whole numbers taken where floats are asked for."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
