"""A server that finds faces in images sent to it, and a page that does so in the browser."""
