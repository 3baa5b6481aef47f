"""From a Spec to the tasks that have to run."""
