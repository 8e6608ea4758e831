"""A plugin as papers of 2019 and 2020 wrote them: namespaces, ``add_args``, signatures of releases 0.9 and 0.10."""

from . import losses, models, tasks, text  # noqa: F401
