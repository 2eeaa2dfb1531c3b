"""
Everything of the kit that needs asyncio: alarms, waiting, racing.

Loaded when the first async function is used, because asyncio takes longer to import than all of the kit and a
service without it should not pay.
"""
