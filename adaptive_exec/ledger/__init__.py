"""The second book: who is at work on this host, one small locked file per instance.

Says what others claim and enters the own claim; how much of the host that leaves is judged in
`core/sharing/share`. A lease is a hint: without a usable ledger an instance goes by what it sees.
"""
