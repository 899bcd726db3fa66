"""The client of OpenAI-style servers, for teachers and students behind an endpoint."""
