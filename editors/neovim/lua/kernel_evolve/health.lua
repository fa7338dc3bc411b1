-- :checkhealth kernel_evolve
local M = {}

local function check_neovim()
  if vim.fn.has('nvim-0.11') == 1 then
    vim.health.ok('Neovim ' .. tostring(vim.version()))
  else
    vim.health.error('Neovim 0.11 or newer is needed; this is ' .. tostring(vim.version()))
  end
end

local function check_doctor(command)
  local result = vim.system(command, { text = true, timeout = 60000 }):wait()
  local report = vim.trim((result.stdout or '') .. (result.stderr or ''))
  local show = result.code == 0 and vim.health.info or vim.health.warn
  show('kernel-evolve doctor says:\n' .. report)
end

local function check_server()
  local command, cause, advice = require('kernel_evolve').command()
  if cause then
    vim.health.error(cause, { advice })
    return
  end
  vim.health.ok('server: ' .. table.concat(command, ' '))
  if command[#command] == 'lsp' then
    check_doctor(vim.list_extend(vim.list_slice(command, 1, #command - 1), { 'doctor' }))
  end
end

local function check_clients()
  if not vim.lsp.is_enabled or vim.lsp.is_enabled('kernel_evolve') then
    vim.health.ok("enabled: vim.lsp.enable('kernel_evolve')")
  else
    vim.health.warn('not enabled', { "Add vim.lsp.enable('kernel_evolve') to your init.lua" })
  end
  local clients = vim.lsp.get_clients({ name = 'kernel_evolve' })
  if #clients == 0 then
    vim.health.info('not running yet: it starts with the first Python or CUDA buffer')
  end
  for _, client in ipairs(clients) do
    local status = client.server_status or {}
    local message = ('running for %s: %s %s'):format(client.root_dir or 'a file', status.health or 'ok', status.message or '')
    local show = (status.health or 'ok') == 'ok' and vim.health.ok or vim.health.warn
    show(vim.trim(message))
  end
end

function M.check()
  vim.health.start('kernel-evolve')
  check_neovim()
  check_server()
  check_clients()
end

return M
