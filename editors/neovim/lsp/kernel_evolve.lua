-- For vim.lsp.enable('kernel_evolve'), Neovim 0.11 or newer.
-- Change anything with vim.lsp.config('kernel_evolve', { settings = { kernelEvolve = { budget = '5m' } } }).
local kernel_evolve = require('kernel_evolve')

---@type vim.lsp.Config
return {
  cmd = kernel_evolve.start_server,
  filetypes = { 'python', 'cuda' },
  root_dir = kernel_evolve.root_dir,
  init_options = { trusted = true },
  before_init = kernel_evolve.before_init,
  settings = { kernelEvolve = vim.empty_dict() },
  capabilities = kernel_evolve.capabilities,
  handlers = kernel_evolve.handlers,
  on_attach = kernel_evolve.on_attach,
}
