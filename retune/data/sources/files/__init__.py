"""Files on this machine and elsewhere: found, opened and unpacked."""
