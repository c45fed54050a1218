"""access: who may do what.

Lives here: principals and credentials, the vocabulary of actions, the decision.
May import: `keyring`, `store` (ports and records), `crypto`, `errors`.
Must not know: signatures, requests, dialects.
"""
