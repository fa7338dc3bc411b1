if vim.g.loaded_kernel_evolve then
  return
end
vim.g.loaded_kernel_evolve = true

vim.api.nvim_create_user_command('KernelEvolve', function(call)
  require('kernel_evolve.commands').run(call.fargs[1] or 'start')
end, {
  nargs = '?',
  desc = 'Evolve the kernel at the cursor, or steer its run',
  complete = function(lead)
    return require('kernel_evolve.commands').complete(lead)
  end,
})
