"""The Responses API over the models that chat: nothing is stored."""
