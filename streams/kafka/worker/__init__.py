"""The worker: Faust keeps group and assignment, whole lists of records go to the stages, state lies in changelogs."""
