"""Atoll: one file describes a system of microservices; one command makes it true."""
