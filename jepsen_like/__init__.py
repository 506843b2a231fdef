"""Black-box faults and checkers, in Jepsen's words.

What is judged here is what clients saw, never what the members hold inside: this
package imports the client, the errors and the wire messages, and nothing deeper. A
checker that could look inside would forgive.
"""
