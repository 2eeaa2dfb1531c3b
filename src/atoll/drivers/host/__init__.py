"""What the Linux host offers: processes, cgroups, namespaces, system call filters, logs."""
