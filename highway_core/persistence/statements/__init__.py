"""Every SQL statement, named: ``local`` for the hot path of LOCAL runs, ``runs`` and ``webhooks`` for the rest."""
