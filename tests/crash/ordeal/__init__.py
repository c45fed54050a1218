"""Ordeals: a real server is killed, starved of its disk and lied to, and must keep its word.

`kills` kills it under load, `faults` lets its system calls fail, `tamper` changes what it
stored; each is a program (`python -m ordeal.kills --help`) and serves the tests beside this
folder in a short form. `power` replays a trace of its system calls as a power cut would have
left it.
"""
