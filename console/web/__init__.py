"""The pages: server-rendered, see ``console.web.pages``."""
