"""Asking the routers before us to let others in: NAT-PMP, PCP and UPnP IGD, as messages and machines.

Law 1: an answer counts only from the gateway that was asked, and only to what was asked.
Law 2: a mapping lives at most as long as the gateway said, and is given back when it is not needed any more.
Law 3: where no gateway answers, that costs a few packets, and less and less often.
"""
