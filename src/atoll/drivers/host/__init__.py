"""What Linux offers, one module per facility: processes, cgroups, seccomp, namespaces. No policy here."""
